/** A server that needs keys: show one once. */
import { useState } from "preact/hooks";
import { api } from "../services/api";
import { messageOf } from "../state/messages";
import { start } from "../state/start";

export function SignIn() {
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key");
    setBusy(true);
    try {
      await api.signIn(String(key));
      await start();
    } catch (problem) {
      setError(messageOf(problem));
    }
    setBusy(false);
  };
  return (
    <form class="card signin" onSubmit={(event) => void submit(event)}>
      <h1>Sign in</h1>
      <p>This server needs an API key. Whoever runs it makes one with <code>rhapsode keys create NAME</code>.</p>
      <label class="field">
        <span>Key</span>
        <input type="password" name="key" required autocomplete="current-password" aria-invalid={error !== null} aria-describedby="signin-error" />
      </label>
      <p id="signin-error" class="error" role="alert">{error}</p>
      <button type="submit" class="primary" disabled={busy}>Sign in</button>
    </form>
  );
}
