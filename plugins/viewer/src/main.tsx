import { render } from "preact";
import "./style.css";
import { begin } from "./opening";
import { App } from "./view/App";

const root = document.getElementById("app");
if (root) {
  render(<App />, root);
  void begin();
}
