import { html } from "./html.js";
export const Progress = () => html`<p>soon</p>`;
