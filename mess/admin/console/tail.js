import { html } from "./html.js";
export const Tail = () => html`<p>soon</p>`;
