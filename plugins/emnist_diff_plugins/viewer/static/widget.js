// The viewer in a notebook's cell: a frame that holds the page, cut off from the notebook, and what passes its requests for
// bytes on to the kernel.
const SLOW = 8000;

function bytesOf(buffer) {
  const view = ArrayBuffer.isView(buffer) ? buffer : new Uint8Array(buffer);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer;
}

/** Messages to the kernel, each with its answer; `waits` is called with whether one takes long. */
function kernel(model, waits) {
  // Several frames of one widget hear each other's answers.
  const own = Math.random().toString(36).slice(2);
  const waiting = new Map();
  let count = 0;
  const late = () => waits([...waiting.values()].some(({ since }) => Date.now() - since > SLOW));
  const clock = setInterval(late, 1000);
  const hear = (message, buffers) => {
    waiting.get(message.id)?.resolve({ ...message, bytes: buffers?.[0] && bytesOf(buffers[0]) });
    waiting.delete(message.id);
    late();
  };
  model.on("msg:custom", hear);
  return {
    ask: (request) => new Promise((resolve) => {
      const id = `${own}-${(count += 1)}`;
      waiting.set(id, { resolve, since: Date.now() });
      model.send({ ...request, id });
    }),
    close: () => (clearInterval(clock), model.off("msg:custom", hear)),
  };
}

function elements(el) {
  const frame = document.createElement("iframe");
  frame.title = "Viewer of a trajectory file";
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.allow = "fullscreen";
  Object.assign(frame.style, { width: "100%", height: "760px", border: "1px solid #8884", borderRadius: "4px", resize: "vertical" });
  const note = document.createElement("p");
  note.setAttribute("role", "status");
  note.textContent = "The kernel does not answer: it is busy, or was started anew. Then run the cell again.";
  note.hidden = true;
  el.replaceChildren(frame, note);
  return { frame, note };
}

function render({ model, el }) {
  const { frame, note } = elements(el);
  const { ask, close } = kernel(model, (late) => (note.hidden = !late));
  const connect = (event) => {
    if (event.source !== frame.contentWindow || event.data?.emnistDiffViewer !== "ready") return;
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = async ({ data: { id, file, offset, length } }) => {
      const { bytes, error } = await ask({ file, offset, length });
      port1.postMessage({ id, bytes, error }, bytes ? [bytes] : []);
    };
    frame.contentWindow.postMessage({ emnistDiffViewer: "port" }, "*", [port2]);
  };
  window.addEventListener("message", connect);
  void ask({}).then(({ html }) => (frame.srcdoc = html));
  return () => {
    window.removeEventListener("message", connect);
    close();
  };
}

export default { render };
