import { render } from "preact";
import { readAccessKey, takeGiven } from "./api/access_key.ts";
import { keyForCode } from "./api/invitation.ts";
import { followServer } from "./api/server.ts";
import { App, followConversation } from "./app.tsx";
import { heardElsewhere } from "./chat/elsewhere.ts";
import { heardFromTab, openHistory, removedInTab, save } from "./history/history.ts";
import { hearTabs } from "./history/tabs.ts";
import { warmUp } from "./markdown/warm_up.ts";
import { offlineReady } from "./offline.ts";
import { applySettings } from "./settings/settings.ts";
import { hearShortcuts } from "./shortcuts.ts";
import { followAddress } from "./ui/views.ts";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/controls.css";
import "./styles/chat.css";
import "./styles/messages.css";
import "./styles/dialogs.css";
import "./styles/views.css";

// The key is known before anything is asked.
void readAccessKey(keyForCode).then(followServer);
// A link with another one may be opened in this tab.
window.addEventListener("hashchange", () => {
  const { key, code } = takeGiven(location.hash);
  if (key !== "" || code !== "") void readAccessKey(keyForCode);
});
applySettings();
followAddress();
hearShortcuts();

const root = document.getElementById("page");
if (root !== null) {
  root.replaceChildren();
  render(<App />, root);
}

void openHistory().then(followConversation);
hearTabs((news) => {
  if (news.kind === "removed") return removedInTab(news.id);
  heardFromTab(news.conversation, news.messages);
  for (const message of news.messages) {
    if (message.role === "assistant") heardElsewhere(message.id, message.finish !== undefined);
  }
});
// A page that is left may not come back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) void save();
});
window.addEventListener("pagehide", () => void save());
void offlineReady();
warmUp();
