// This is not a module, because browsers do not load modules from file:// URLs. There, only this script runs.
if (location.protocol === "file:") {
  document.getElementById("file").hidden = false;
  document.querySelector(".slow").remove();
}
