// Where someone is, and everything they chose, lies in the address: a link or a reload brings it back.

import { saved } from "./record";

const read = (): [string, URLSearchParams] => {
  const [path, query = ""] = (saved?.hash ?? location.hash).replace(/^#\/?/, "").split("?");
  return [path || "runs", new URLSearchParams(query)];
};

class Route {
  #now = $state.raw(read());

  constructor() {
    if (!saved) addEventListener("hashchange", () => (this.#now = read()));
  }
  get page(): string {
    return this.#now[0];
  }
  get address(): string {
    const [page, params] = this.#now;
    return `#/${page}${params.size ? `?${params}` : ""}`;
  }
  get(key: string, otherwise = ""): string {
    return this.#now[1].get(key) ?? otherwise;
  }
  number(key: string, otherwise: number): number {
    const value = Number(this.#now[1].get(key) ?? NaN);
    return Number.isFinite(value) ? value : otherwise;
  }
  /** Change what is chosen on this page; "" takes a choice back to its default. */
  set(changes: Record<string, string | number>): void {
    const params = new URLSearchParams(this.#now[1]);
    for (const [key, value] of Object.entries(changes)) {
      if (value === "") params.delete(key);
      else params.set(key, String(value));
    }
    this.#write(this.#now[0], params);
  }
  /** The runs that are ticked, in the order in which they were. */
  get runs(): string[] {
    return this.#now[1].getAll("run");
  }
  tick(name: string, on: boolean): void {
    const params = new URLSearchParams(this.#now[1]);
    const runs = this.runs.filter((other) => other !== name);
    params.delete("run");
    for (const run of on ? [...runs, name] : runs) params.append("run", run);
    this.#write(this.#now[0], params);
  }
  choose(names: string[]): void {
    const params = new URLSearchParams(this.#now[1]);
    params.delete("run");
    for (const run of names) params.append("run", run);
    this.#write(this.#now[0], params);
  }
  #write(page: string, params: URLSearchParams): void {
    const address = `#/${page}${params.size ? `?${params}` : ""}`;
    if (address === this.address) return; // whoever watches is not told of what has not changed
    if (!saved) history.replaceState(null, "", address);
    this.#now = [page, params];
  }
  /** The address of another page, with the same runs ticked, or these. */
  link(page: string, runs: string[] = this.runs): string {
    const params = new URLSearchParams(runs.map((run) => ["run", run]));
    return `#/${page}${params.size ? `?${params}` : ""}`;
  }
}

export const route = new Route();
