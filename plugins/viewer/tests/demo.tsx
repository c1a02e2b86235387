// The page with a run in memory, for work on its looks: npx vite, then /tests/demo.html?samples=64&steps=50.
import { render } from "preact";
import "../src/style.css";
import { runs } from "../src/state";
import { App } from "../src/view/App";
import { demoRun } from "./demo";

const asked = new URLSearchParams(location.search);
const number = (name: string, other: number) => Number(asked.get(name) ?? other);
runs.value = [demoRun({ samples: number("samples", 8), steps: number("steps", 20), side: number("side", 28) })];
const root = document.getElementById("app");
if (root) render(<App />, root);
