// Canvases do not follow style sheets: whoever draws one reads `theme.turn` and is called again when colours change.
class Theme {
  turn = $state(0);
  constructor() {
    const again = () => this.turn++;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  }
}

export const theme = new Theme();

/** The colour (red, green, blue, each to 255) that a style name stands for now. */
export function ink(name: string): [number, number, number] {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true })!;
  const holder = document.createElement("i");
  holder.style.color = `var(${name})`;
  document.body.append(holder);
  probe.fillStyle = getComputedStyle(holder).color;
  holder.remove();
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
  return [r, g, b];
}

export const css = (colour: [number, number, number], alpha = 1): string => `rgb(${colour.join(" ")} / ${alpha})`;
