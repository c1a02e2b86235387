// Runs beside the page, so that it stays quick while the plane is computed.
import { principal } from "./principal";

export interface Request { readonly id: number; readonly states: Float32Array; readonly rows: number; readonly size: number }

self.onmessage = ({ data: { id, states, rows, size } }: MessageEvent<Request>) => {
  const { points, explained } = principal(states, rows, size);
  self.postMessage({ id, points, explained }, { transfer: [points.buffer] });
};
