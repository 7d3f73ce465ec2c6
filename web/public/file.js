// Not a module: browsers refuse to load modules from file:// addresses, so only this script runs there.
if (location.protocol === "file:") {
  document.getElementById("file").hidden = false;
  document.querySelector(".slow").remove();
}
