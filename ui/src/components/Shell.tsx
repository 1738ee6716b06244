/** The frame of all views: name, places to go, what the page has to say. */
import { attempt, announcement, dismiss, toasts } from "../state/messages";
import { address, route, type View, VIEWS } from "../state/route";
import { broken, initial, isOpenToAll, live, mustSignIn, offline, session } from "../state/server";
import { start } from "../state/start";
import { theme, turnTheme } from "../state/theme";
import { api } from "../services/api";
import { HistoryView } from "./History";
import { Icon } from "./Icon";
import { QueueView } from "./Queue";
import { SettingsView } from "./Settings";
import { SignIn } from "./SignIn";
import { Studio } from "./Studio";
import { VoicesView } from "./Voices";

const NAMES: Record<View, string> = {
  studio: "Studio",
  queue: "Queue",
  history: "History",
  voices: "Voices",
  settings: "Settings",
};

const PAGES: Record<View, () => preact.JSX.Element> = {
  studio: Studio,
  queue: QueueView,
  history: HistoryView,
  voices: VoicesView,
  settings: SettingsView,
};

export function Shell() {
  const dark = theme.value === "dark";
  const { view } = route.value;
  const title = initial.value?.config.ui.title ?? "Rhapsode";
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>
        Skip to the content
      </a>
      <header class="top">
        <a class="name" href={address("studio")}>
          <span class="mark" aria-hidden="true">
            <i /><i /><i /><i /><i />
          </span>
          {title}
        </a>
        {!mustSignIn.value && (
          <nav aria-label="Views">
            {VIEWS.map((one) => (
              <a key={one} href={address(one)} aria-current={one === view ? "page" : undefined}>
                {NAMES[one]}
              </a>
            ))}
          </nav>
        )}
        <div class="top-end">
          {session.value?.signed_in && (
            <button type="button" class="quiet" onClick={() => void attempt(api.signOut).then(() => location.reload())}>
              Sign out
            </button>
          )}
          <button type="button" class="quiet square" onClick={turnTheme} aria-label={dark ? "Light colours" : "Dark colours"}>
            <Icon name={dark ? "sun" : "moon"} />
          </button>
        </div>
      </header>
      <Notices />
      <main id="main" tabIndex={-1}>
        <Body view={view} />
      </main>
      <div class="sr" role="status" aria-live="polite">
        {announcement.value}
      </div>
      <div class="toasts" role="region" aria-label="Messages">
        {toasts.value.map((one) => (
          <div key={one.id} class={`toast ${one.kind}`} role={one.kind === "error" ? "alert" : "status"}>
            <span>{one.text}</span>
            <button type="button" class="quiet square" onClick={() => dismiss(one.id)} aria-label="Dismiss">
              <Icon name="close" />
            </button>
          </div>
        ))}
      </div>
    </>
  );
}

function Notices() {
  if (offline.value && initial.value)
    return (
      <p class="notice" role="status">
        The server does not answer just now. Your jobs are safe on it; this page goes on by itself when it is back.
      </p>
    );
  if (!live.value && initial.value && !mustSignIn.value)
    return (
      <p class="notice calm" role="status">
        Live updates are interrupted; the page asks from time to time instead.
      </p>
    );
  if (isOpenToAll.value)
    return (
      <p class="notice" role="note">
        This server is open: everybody who reaches its address may use it. <code>rhapsode keys create NAME --admin</code> closes it.
      </p>
    );
  return null;
}

function Body({ view }: { view: View }) {
  if (mustSignIn.value) return <SignIn />;
  if (initial.value === null && broken.value !== null)
    return (
      <section class="empty">
        <h1>{offline.value ? "The server does not answer" : "Something is wrong"}</h1>
        <p>{offline.value ? "This page tries again every few seconds. Nothing that was accepted is lost." : broken.value}</p>
        <button type="button" onClick={() => void start()}>
          Try now
        </button>
      </section>
    );
  if (initial.value === null) return <p class="empty" aria-busy="true">Loading…</p>;
  const Page = PAGES[view];
  return <Page />;
}
