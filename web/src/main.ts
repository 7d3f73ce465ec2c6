import { mount } from "svelte";
import App from "./App.svelte";
import "./style/page.css";

const page = document.getElementById("page")!;
page.replaceChildren(); // the message for browsers in which this does not run
mount(App, { target: page });
