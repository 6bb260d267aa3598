// Which lines of two documents differ. Lines are compared without indentation, since steps move values around.

const MOST = 1500;

/**
 * @param {string} left @param {string} right indented JSON
 * @returns {{left: Line[], right: Line[]}} all lines of both, marked; nothing is marked where the texts are too long
 * @typedef {{text: string, differs: boolean}} Line
 */
export function compare(left, right) {
  const [a, b] = [left, right].map((text) => text.split("\n"));
  if (Math.max(a.length, b.length) > MOST) return { left: a.map((text) => ({ text, differs: false })), right: b.map((text) => ({ text, differs: false })) };
  const [x, y] = [a, b].map((lines) => lines.map((text) => text.trim().replace(/,$/, "")));
  const common = lengths(x, y);
  const keptLeft = new Set();
  const keptRight = new Set();
  for (let i = 0, j = 0; i < x.length && j < y.length; ) {
    if (x[i] === y[j]) {
      keptLeft.add(i++);
      keptRight.add(j++);
    } else if (common[i + 1][j] >= common[i][j + 1]) i++;
    else j++;
  }
  const marked = (lines, kept) => lines.map((text, i) => ({ text, differs: !kept.has(i) }));
  return { left: marked(a, keptLeft), right: marked(b, keptRight) };
}

/** The lengths of the longest common subsequences of all ends of two lists. */
function lengths(x, y) {
  const rows = Array.from({ length: x.length + 1 }, () => new Uint16Array(y.length + 1));
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--)
      rows[i][j] = x[i] === y[j] ? rows[i + 1][j + 1] + 1 : Math.max(rows[i + 1][j], rows[i][j + 1]);
  return rows;
}
