import "./app.css";
import { type Component, mount } from "svelte";
import Compare from "./views/Compare.svelte";

// One bundle, many views: the page names its view and carries its data as JSON.
const views: Record<string, Component<{ data: any }>> = { compare: Compare };

const holder = document.getElementById("clew-data")!;
const view = views[holder.dataset.view ?? ""];
const target = document.getElementById("clew-app")!;
if (view) mount(view, { target, props: { data: JSON.parse(holder.textContent!) } });
else target.textContent = `This page has no view named “${holder.dataset.view}”.`;
