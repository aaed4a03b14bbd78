import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { addressOf } from "../ui/views.ts";
import { conversationOf, conversations, historyStore, isKept } from "./history.ts";
import { HistoryList } from "./history_list.tsx";
import { type Hit, hits, isSearching, search } from "./searching.ts";

/** The id of the search field, which a shortcut moves the focus to. */
export const SEARCH_ID = "history-search";

/** All conversations, or those in which something was found. */
export function HistoryPanel({ onOpen, onHit }: { onOpen: () => void; onHit: (hit: Hit) => void }) {
  const wanted = useSignal("");
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return;
    }
    // Whoever types on does not want what they typed so far.
    const timer = setTimeout(() => void search(wanted.value, conversations.peek(), historyStore()), 200);
    return () => clearTimeout(timer);
  }, [wanted.value]);
  return (
    <div class="history">
      <div class="search" role="search">
        <Icon name="search" />
        <input
          id={SEARCH_ID}
          type="search"
          dir="auto"
          placeholder={texts.history.search}
          aria-label={texts.history.searchLabel}
          value={wanted.value}
          onInput={(event) => (wanted.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape" || wanted.value === "") return;
            event.preventDefault();
            event.stopPropagation();
            wanted.value = "";
          }}
        />
      </div>
      {!isKept.value && <p class="note note-warning">{texts.history.notKept}</p>}
      {wanted.value.trim() === "" ? <HistoryList onOpen={onOpen} /> : <Hits onHit={onHit} />}
    </div>
  );
}

function Hits({ onHit }: { onHit: (hit: Hit) => void }) {
  const found = hits.value;
  const said = isSearching.value
    ? texts.history.searching
    : found.length === 0
      ? texts.history.noHits
      : texts.history.hits(found.length);
  return (
    <div class="history-scroll">
      <p class="history-day" role="status">
        {said}
      </p>
      <ul class="history-list">
        {found.map((hit, i) => (
          <li key={i} class="hit">
            <a href={addressOf(hit.conversation)} onClick={() => onHit(hit)}>
              <strong>{conversationOf(hit.conversation)?.title ?? ""}</strong>
              <span dir="auto">
                {hit.before}
                <mark>{hit.match}</mark>
                {hit.after}
              </span>
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
