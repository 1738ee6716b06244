import { render } from "preact";
import { Shell } from "./components/Shell";
import { audio } from "./state/player";
import { start } from "./state/start";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/views.css";

document.body.append(audio);
const root = document.getElementById("app");
if (root) render(<Shell />, root);
void start();
