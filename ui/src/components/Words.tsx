/** The pronunciation dictionary: how words are spoken in every text. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../services/api";
import { count } from "../services/format";
import type { Dictionary, Word } from "../services/types";
import { attempt, toast } from "../state/messages";
import { mayAdmin } from "../state/server";
import { Icon } from "./Icon";

const SHOWN = 100;

export function Words() {
  const [found, setFound] = useState<Dictionary | null>(null);
  const [part, setPart] = useState("");
  const change = async (work: () => Promise<Dictionary>): Promise<boolean> => {
    const now = await attempt(work);
    if (now === undefined) return false;
    setFound(now);
    for (const warning of now.warnings) toast(warning, "error");
    return true;
  };
  useEffect(() => void change(api.dictionary), []);
  const all = found?.entries ?? [];
  const wanted = part.trim().toLowerCase();
  const fitting = wanted ? all.filter((one) => one.word.toLowerCase().includes(wanted)) : all;
  return (
    <section aria-labelledby="words-title" class="words">
      <div class="row">
        <h2 id="words-title">Pronunciations</h2>
        {mayAdmin.value && <span class="end"><ImportButton change={change} /></span>}
      </div>
      {mayAdmin.value && <NewWord change={change} />}
      {all.length > SHOWN && (
        <label class="field">
          <span>Search in {count(all.length, "word")}</span>
          <input type="search" value={part} onInput={(event) => setPart(event.currentTarget.value)} />
        </label>
      )}
      {found && all.length === 0 && <p class="empty">Every word is spoken as the voice reads it.</p>}
      <ul class="voices">
        {fitting.slice(0, SHOWN).map((one) => (
          <li key={`${one.word} ${one.language ?? ""} ${one.match_case ?? ""}`} class="voice-card">
            <div class="grow">
              <strong>{one.word}</strong>
              <span class="hint">{[one.say, one.ipa && `/${one.ipa}/`, one.language].filter(Boolean).join(" · ")}</span>
            </div>
            {mayAdmin.value && (
              <button type="button" class="quiet square" aria-label={`Forget ${one.word}`} onClick={() => void change(() => api.removeWord(one.word))}>
                <Icon name="trash" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {fitting.length > SHOWN && <p class="hint">and {fitting.length - SHOWN} more</p>}
    </section>
  );
}

type Change = (work: () => Promise<Dictionary>) => Promise<boolean>;

function NewWord({ change }: { change: Change }) {
  const [word, setWord] = useState("");
  const [spoken, setSpoken] = useState("");
  const add = async (): Promise<void> => {
    const ipa = /^\/(.+)\/$/.exec(spoken.trim())?.[1];
    const entry: Word = { word: word.trim(), ...(ipa ? { ipa } : { say: spoken.trim() }) };
    if (!(await change(() => api.addWords([entry])))) return;
    setWord("");
    setSpoken("");
  };
  return (
    <form
      class="row wrap"
      aria-label="New word"
      onSubmit={(event) => {
        event.preventDefault();
        void add();
      }}
    >
      <label class="field grow">
        <span>Word or phrase</span>
        <input type="text" required maxLength={80} placeholder="SQL" value={word} onInput={(event) => setWord(event.currentTarget.value)} />
      </label>
      <label class="field grow">
        <span>Spoken as (IPA between slashes)</span>
        <input type="text" required maxLength={202} placeholder="sequel" value={spoken} onInput={(event) => setSpoken(event.currentTarget.value)} />
      </label>
      <button type="submit">Add</button>
    </form>
  );
}

function ImportButton({ change }: { change: Change }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        hidden
        aria-hidden="true"
        accept=".pls,.xml,application/pls+xml"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = "";
          if (file) void change(() => api.importWords(file));
        }}
      />
      <button type="button" class="quiet" onClick={() => input.current?.click()}>
        <Icon name="plus" /> Import a lexicon (PLS)
      </button>
    </>
  );
}
