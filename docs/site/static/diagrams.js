// Draws the diagrams in the page's colours, and again when these change.
const diagrams = [...document.querySelectorAll("div.mermaid")].map((element) => [element, element.textContent]);
const system = matchMedia("(prefers-color-scheme: dark)");

async function draw() {
  const chosen = document.body.dataset.theme;
  const dark = chosen === "dark" || (chosen !== "light" && system.matches);
  mermaid.initialize({
    startOnLoad: false,
    theme: dark ? "dark" : "neutral",
    fontFamily: getComputedStyle(document.body).fontFamily,
    flowchart: { useMaxWidth: false },
  });
  for (const [number, [element, source]] of diagrams.entries()) {
    const { svg } = await mermaid.render(`diagram-${number}`, source);
    element.innerHTML = svg;
  }
}

let drawing = draw();
const redraw = () => (drawing = drawing.then(draw));
new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-theme"] });
system.addEventListener("change", redraw);
