import { Icon } from "../ui/icons.tsx";

/** A name with an icon: what a message says of itself. */
export function Note({ icon, text, isWarning = false }: { icon?: "warning"; text: string; isWarning?: boolean }) {
  return (
    <p class={isWarning ? "note note-warning" : "note"}>
      {icon !== undefined && <Icon name={icon} />}
      <span>{text}</span>
    </p>
  );
}
