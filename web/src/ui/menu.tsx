import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icons.tsx";
import { placeBeside } from "./placing.ts";

export interface MenuItem {
  label: string;
  act: () => void;
  icon?: IconName;
  /** Of several of which one is chosen: whether it is this. */
  isChosen?: boolean;
  detail?: string;
  isDangerous?: boolean;
}

interface Props {
  /** What the button says to those who cannot see it. */
  label: string;
  items: readonly MenuItem[];
  children: ComponentChildren;
  buttonClass?: string;
}

/** A button with a menu, operated as menus are: arrows, Home, End, letters, Escape. */
export function Menu({ label, items, children, buttonClass = "icon-button" }: Props) {
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class={buttonClass}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
          event.preventDefault();
          setOpen(true);
        }}
      >
        {children}
      </button>
      {isOpen && (
        <MenuList label={label} items={items} anchor={button.current} onClose={close} onLeave={() => setOpen(false)} />
      )}
    </>
  );
}

interface ListProps {
  label: string;
  items: readonly MenuItem[];
  anchor: HTMLElement | null;
  onClose: () => void;
  onLeave: () => void;
}

function MenuList({ label, items, anchor, onClose, onLeave }: ListProps) {
  const list = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = list.current;
    if (element === null) return;
    element.showPopover();
    if (anchor !== null) placeBeside(element, anchor.getBoundingClientRect());
    const chosen = element.querySelector<HTMLElement>('[aria-checked="true"]');
    (chosen ?? element.querySelector<HTMLElement>("button"))?.focus();
    const outside = (event: Event) => {
      if (event.target instanceof Node && !element.contains(event.target) && anchor?.contains(event.target) !== true)
        onLeave();
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  const move = (event: KeyboardEvent) => {
    const buttons = [...(list.current?.querySelectorAll<HTMLElement>("button") ?? [])];
    const at = buttons.findIndex((button) => button === document.activeElement);
    const target = targetOf(event, buttons, at);
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onClose();
    } else if (event.key === "Tab") {
      onClose();
    } else if (target !== undefined) {
      event.preventDefault();
      target.focus();
    }
  };
  return (
    <div ref={list} class="menu" popover="manual" role="menu" aria-label={label} onKeyDown={move}>
      {items.map((item) => (
        <button
          key={item.label}
          type="button"
          tabIndex={-1}
          class={item.isDangerous === true ? "menu-item menu-item-danger" : "menu-item"}
          role={item.isChosen === undefined ? "menuitem" : "menuitemradio"}
          aria-checked={item.isChosen}
          onClick={() => {
            onClose();
            item.act();
          }}
        >
          {item.icon !== undefined && <Icon name={item.icon} />}
          <span class="menu-label">
            {item.label}
            {item.detail !== undefined && item.detail !== "" && <small>{item.detail}</small>}
          </span>
          {item.isChosen === true && <Icon name="check" />}
        </button>
      ))}
    </div>
  );
}

function targetOf(event: KeyboardEvent, buttons: readonly HTMLElement[], at: number): HTMLElement | undefined {
  if (event.key === "ArrowDown") return buttons[(at + 1) % buttons.length];
  if (event.key === "ArrowUp") return buttons.at(at - 1);
  if (event.key === "Home") return buttons[0];
  if (event.key === "End") return buttons.at(-1);
  if (event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey || event.key === " ") return undefined;
  const after = [...buttons.slice(at + 1), ...buttons.slice(0, at + 1)];
  return after.find((button) => button.textContent?.trim().toLowerCase().startsWith(event.key.toLowerCase()));
}
