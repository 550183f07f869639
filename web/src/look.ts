import "./app.css";
import "./look/look.css";
import { mount } from "svelte";
import Look from "./look/Look.svelte";

mount(Look, { target: document.getElementById("clew-app")! });
