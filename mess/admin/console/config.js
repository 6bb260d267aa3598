import { html } from "./html.js";
export const Config = () => html`<p>soon</p>`;
