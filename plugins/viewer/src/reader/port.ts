// A file whose bytes a notebook's kernel reads: its widget holds this page in a frame, and passes requests on.
import { FileProblem, type Source } from "./api";
import { RangedSource } from "./ranged";

interface Request { readonly file: number; readonly offset: number; readonly length: number }
interface Answer { readonly id: number; readonly bytes?: ArrayBuffer; readonly error?: string }
interface Waiting { readonly resolve: (bytes: Uint8Array) => void; readonly reject: (problem: Error) => void }

/** Requests to a port, any number of them at once, each with its answer. */
class Requests {
  private last = 0;
  private readonly waiting = new Map<number, Waiting>();

  constructor(private readonly port: Promise<MessagePort>) {
    void port.then((open) => {
      open.onmessage = (event: MessageEvent<Answer>) => this.answered(event.data);
    });
  }

  async send(request: Request): Promise<Uint8Array> {
    const port = await this.port;
    const id = (this.last += 1);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      port.postMessage({ id, ...request });
    });
  }

  private answered({ id, bytes, error }: Answer): void {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (bytes === undefined) waiting?.reject(new FileProblem(error ?? "the notebook sent no bytes"));
    else waiting?.resolve(new Uint8Array(bytes));
  }
}

class PortSource extends RangedSource {
  // A kernel answers one request after the other.
  readonly gap = 1 << 18;

  constructor(private readonly channel: Requests, readonly name: string, readonly size: number, private readonly file: number) {
    super();
  }

  protected fetch(offset: number, length: number): Promise<Uint8Array> {
    return this.channel.send({ file: this.file, offset, length });
  }
}

/** Tell the page around this one that it may send the port, and wait for it. */
function portOfFrame(): Promise<MessagePort> {
  return new Promise((resolve) => {
    const take = (event: MessageEvent<{ readonly emnistDiffViewer?: string } | null>) => {
      const port = event.ports[0];
      if (event.source !== window.parent || event.data?.emnistDiffViewer !== "port" || port === undefined) return;
      window.removeEventListener("message", take);
      resolve(port);
    };
    window.addEventListener("message", take);
    window.parent.postMessage({ emnistDiffViewer: "ready" }, "*");
  });
}

let shared: Requests | undefined;

/** A file of the notebook that shows this page: its name, its bytes in all, and its number in requests. */
export function portSource(name: string, size: number, file: number): Source {
  shared ??= new Requests(portOfFrame());
  return new PortSource(shared, name, size, file);
}
