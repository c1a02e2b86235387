import { render } from "preact";

const root = document.getElementById("app");
if (root) render(<p>emnist-diff viewer</p>, root);
