"use strict";
const RELATIONS = { ArrowRight: "next", j: "next", ArrowLeft: "prev", k: "prev", u: "up", Escape: "up" };
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, select, textarea, .scroll")) return;
  const filter = document.getElementById("text");
  if (event.key === "/" && filter) {
    event.preventDefault();
    filter.closest("details").open = true;
    filter.focus();
    return;
  }
  const link = document.querySelector(`a[rel="${RELATIONS[event.key] || "none"}"]`);
  if (link) {
    event.preventDefault();
    location.assign(link.href);
  }
});
