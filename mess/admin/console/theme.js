// Runs before the first paint, so that the page does not flash in the other colours.
try {
  const theme = localStorage.getItem("mess-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Without storage, the system's theme applies.
}
