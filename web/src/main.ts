import { mount } from "svelte";
import App from "./App.svelte";
import "./style/page.css";

const page = document.getElementById("page")!;
page.replaceChildren(); // removes the message for browsers that cannot run this script
mount(App, { target: page });
