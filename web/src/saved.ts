import "./app.css";
import "./look/look.css";
import { mount } from "svelte";
import Saved from "./look/Saved.svelte";

document.documentElement.dataset.saved = "";
mount(Saved, { target: document.getElementById("clew-app")! });
