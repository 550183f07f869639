import { plain, save } from "../lib/save";
import { bytes, text } from "./api";
import { live } from "./live.svelte";
import { answers, completed, found, type Saved } from "./record";
import { route } from "./route.svelte";

const inMarkup = (given: string): string => given.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
/** No character of it can end the element that holds it. */
const inScript = (given: string): string => given.replace(/[&<>]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`);

/** The page as it stands, as one HTML file that needs no server and no network. */
export async function savePage(label: string): Promise<void> {
  await completed();
  for (const id of found("attention")) await bytes(`attention/${id}/packed`);
  const page = route.page;
  const [shell, known] = await Promise.all([text(`shell?page=${encodeURIComponent(page)}`), answers()]);
  const asked = Object.keys(known).join("\n");
  const runs = live.runs.filter((run) => page === "runs" || route.runs.includes(run.name) || asked.includes(JSON.stringify(run.name)));
  const names = route.runs.length ? route.runs : runs.length < 4 ? runs.map((run) => run.name) : [];
  const data: Saved = {
    page, hash: route.address, title: [label, names.length ? ` of ${names.join(", ")}` : ""].join(""), text: route.get("text"),
    created: new Date().toISOString().slice(0, 19) + "+00:00", version: live.version,
    // Where a run lies is nobody else's business.
    runs: runs.map((run) => ({ ...run, command: "" })), answers: known,
  };
  const at = shell.indexOf('<script type="application/json"');
  const [from, to] = [shell.indexOf(">", at) + 1, shell.indexOf("</script>", at)];
  const head = shell.slice(0, at).replaceAll("@title@", () => inMarkup(data.title)).replaceAll("@text@", () => inMarkup(data.text));
  save(`${head}${shell.slice(at, from)}${inScript(JSON.stringify(data))}${shell.slice(to)}`, `${plain(data.title)}.html`, "text/html");
}
