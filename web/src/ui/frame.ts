/** Calls back before the next frame; in a page that is not shown, where there are none, a little later. */
export function onFrame(callback: () => void): void {
  if (document.hidden) setTimeout(callback, 250);
  else requestAnimationFrame(callback);
}
