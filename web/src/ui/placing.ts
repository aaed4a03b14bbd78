const GAP = 6;
const MARGIN = 8;

/** Places an element of the top layer under a box, or over it where there is more room. */
export function placeBeside(element: HTMLElement, box: DOMRect): void {
  const { innerWidth, innerHeight } = window;
  const below = innerHeight - box.bottom - GAP - MARGIN;
  const above = box.top - GAP - MARGIN;
  const isAbove = element.offsetHeight > below && above > below;
  element.style.maxHeight = `${Math.max(120, isAbove ? above : below)}px`;
  const width = element.offsetWidth;
  const height = element.offsetHeight;
  const isRtl = document.documentElement.dir === "rtl";
  const start = isRtl ? box.right - width : box.left;
  const left = Math.max(MARGIN, Math.min(start, innerWidth - width - MARGIN));
  element.style.left = `${left}px`;
  element.style.top = `${isAbove ? box.top - GAP - height : box.bottom + GAP}px`;
}
