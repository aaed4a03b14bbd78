import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { copyText } from "./clipboard.ts";
import type { drawFormula, Formula } from "./formula.ts";
import { type Steps, usePrepared } from "./prepare.ts";
import { markdownTexts as texts } from "./texts.ts";

type Draw = typeof drawFormula;

/** The part that draws formulas loads with the first of them. */
let draw: Draw | null = null;
let loading: Promise<boolean> | null = null;

export function loadMaths(): Promise<boolean> {
  loading ??= import("./formula.ts").then(
    (module) => {
      draw = module.drawFormula;
      return true;
    },
    () => {
      loading = null;
      return false;
    },
  );
  return loading;
}

export function MathsView({ source, isDisplay }: { source: string; isDisplay: boolean }) {
  const [isMissing, setMissing] = useState(false);
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  useEffect(() => {
    if (draw !== null) return undefined;
    let isMounted = true;
    void loadMaths().then((isLoaded) => {
      if (!isMounted) return;
      if (isLoaded) redraw();
      else setMissing(true);
    });
    return () => {
      isMounted = false;
    };
  }, []);
  if (draw === null) return <FormulaSource source={source} title={isMissing ? texts.maths.notLoaded : undefined} isDisplay={isDisplay} />;
  return <Drawn source={source} isDisplay={isDisplay} draw={draw} />;
}

function Drawn(props: { source: string; isDisplay: boolean; draw: Draw }) {
  const { source, isDisplay } = props;
  const formula = useRef<Formula | null>(null);
  const wanted = `${isDisplay ? "display" : "inline"} ${source}`;
  const { element } = usePrepared(wanted, function* (): Steps {
    formula.current = props.draw(source, isDisplay);
  });
  const drawn = formula.current;
  if (drawn === null || "problem" in drawn) {
    return (
      <span ref={element}>
        <FormulaSource source={source} title={drawn?.problem} isDisplay={isDisplay} />
      </span>
    );
  }
  if (!isDisplay) {
    return (
      <span ref={element} class="md-maths" dir="ltr">
        {drawn.vnode}
      </span>
    );
  }
  return (
    <span ref={element} class="md-maths-block" dir="ltr">
      <span class="md-scroll" role="group" tabIndex={0} aria-label={texts.maths.label}>
        {drawn.vnode}
      </span>
      <CopyFormula source={source} />
    </span>
  );
}

export function FormulaSource(props: { source: string; title: string | undefined; isDisplay: boolean }) {
  return (
    <code class={props.isDisplay ? "md-inline md-formula-source" : "md-inline"} dir="ltr" title={props.title}>
      {props.source}
    </code>
  );
}

function CopyFormula({ source }: { source: string }) {
  const [label, setLabel] = useState<string>(texts.maths.copy);
  useEffect(() => {
    if (label === texts.maths.copy) return undefined;
    const timer = setTimeout(() => setLabel(texts.maths.copy), 3000);
    return () => clearTimeout(timer);
  }, [label]);
  const copy = async (): Promise<void> => {
    setLabel((await copyText(source, null)) ? texts.maths.copied : texts.maths.notCopied);
  };
  return (
    <button type="button" class="md-copy-formula" onClick={() => void copy()}>
      {label}
    </button>
  );
}
