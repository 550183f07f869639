import type { Run } from "./api";
import { saved } from "./record";

// The list of runs, told by the server whenever it changes.
class Live {
  runs = $state.raw<Run[]>([]);
  known = $state(false);
  connected = $state(false);
  version = "";

  constructor() {
    if (saved) {
      this.runs = saved.runs;
      this.known = this.connected = true;
      return;
    }
    const source = new EventSource("/api/events");
    source.addEventListener("version", (event) => (this.version = (event as MessageEvent<string>).data));
    source.addEventListener("runs", (event) => {
      this.runs = JSON.parse((event as MessageEvent<string>).data);
      this.known = this.connected = true;
    });
    source.onopen = () => (this.connected = true);
    source.onerror = () => (this.connected = false);
  }
  of(name: string): Run | undefined {
    return this.runs.find((run) => run.name === name);
  }
}

export const live = new Live();
