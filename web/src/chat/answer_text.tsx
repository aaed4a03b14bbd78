import { render } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Markdown } from "../markdown/markdown.tsx";

/**
 * An answer's text, rendered. It is a tree apart: what a renderer keeps of earlier passes, to be fast, refers to what was
 * around it then, and so in one tree each answer would keep all messages that were ever shown before it.
 */
export function AnswerText({ text, isLive }: { text: string; isLive: boolean }) {
  const host = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (host.current !== null) render(<Markdown text={text} isLive={isLive} />, host.current);
  }, [text, isLive]);
  useLayoutEffect(() => {
    const element = host.current;
    return () => {
      if (element !== null) render(null, element);
    };
  }, []);
  return <div ref={host} />;
}
