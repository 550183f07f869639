// Handing a file to whoever looks, and a drawing as a file of its own.

export function save(content: Blob | string, name: string, type = "text/plain"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A name that any file system takes. */
export const plain = (name: string): string => name.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+|-+$/g, "") || "clew";

const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "font-weight", "text-anchor"];

/** A drawing of the page as an SVG file: as it looks now, the style sheet's part written into it. */
export function svgOf(drawing: SVGSVGElement): string {
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const [ours, theirs] = [drawing, copy].map((each) => [...each.querySelectorAll<SVGElement>("*")]);
  ours.forEach((element, k) => {
    const style = getComputedStyle(element);
    theirs[k].setAttribute("style", LOOKS.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
    theirs[k].removeAttribute("class");
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  paper.setAttribute("width", "100%");
  paper.setAttribute("height", "100%");
  paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
  copy.prepend(paper);
  return new XMLSerializer().serializeToString(copy);
}

/** An SVG file as a picture, twice as large. */
export async function pngOf(svg: string): Promise<Blob | null> {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * picture.width, 2 * picture.height];
  canvas.getContext("2d")!.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done));
}

export const escaped = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** A matrix as an SVG file: a square for each weight that can be seen, the tokens beside and above, gold links framed. */
export function matrixSvg(values: Float32Array, rows: string[], columns: string[], signed: boolean, gold: Set<string>, colours: { more: string; less: string; ink: string; paper: string }): string {
  const cell = 18;
  const [left, top] = [12 + 7 * Math.max(...rows.map((row) => row.length)), 12 + 6 * Math.max(...columns.map((column) => column.length))];
  const [width, height] = [left + cell * columns.length + 60, top + cell * rows.length + 8];
  const scale = signed ? values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6) : 1;
  const parts = [`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="${colours.paper}"/>`];
  values.forEach((value, k) => {
    const shade = Math.sqrt(Math.min(1, Math.abs(value) / scale));
    if (shade < 0.03) return; // a thousandth of the whole
    const [t, s] = [Math.floor(k / columns.length), k % columns.length];
    parts.push(`<rect x="${left + cell * s}" y="${top + cell * t}" width="${cell}" height="${cell}" fill="${value < 0 ? colours.less : colours.more}" fill-opacity="${shade.toFixed(2)}"><title>${escaped(`${rows[t]} → ${columns[s]} ${value.toFixed(3)}`)}</title></rect>`);
  });
  for (const place of gold) {
    const [s, t] = place.split(",").map(Number);
    parts.push(`<rect x="${left + cell * s + 1}" y="${top + cell * t + 1}" width="${cell - 2}" height="${cell - 2}" fill="none" stroke="${colours.ink}" stroke-width="1.6"/>`);
  }
  rows.forEach((token, t) => parts.push(`<text x="${left - 6}" y="${top + cell * (t + 0.5)}" dy="0.35em" text-anchor="end" fill="${colours.ink}">${escaped(token)}</text>`));
  columns.forEach((token, s) => parts.push(`<text transform="translate(${left + cell * (s + 0.55)} ${top - 6}) rotate(-50)" fill="${colours.ink}">${escaped(token)}</text>`));
  parts.push(`<rect x="${left}" y="${top}" width="${cell * columns.length}" height="${cell * rows.length}" fill="none" stroke="${colours.ink}" stroke-opacity="0.4"/></svg>`);
  return parts.join("\n");
}
