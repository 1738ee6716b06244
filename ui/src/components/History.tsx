/** What was asked for so far. Filters stand in the address, so that they survive a reload and can be shared. */
import { useEffect, useRef, useState } from "preact/hooks";
import { count, size } from "../services/format";
import { historyList, recent } from "../state/jobs";
import { address, route, setQuery } from "../state/route";
import { JobRow } from "./JobRow";

const STATES: [string, string][] = [["", "All"], ["completed", "Finished"], ["queued,running", "Unfinished"], ["failed", "Failed"], ["cancelled", "Cancelled"]];
const TYPED_MS = 350;

/** The latest jobs, beside the composer. */
export function Recent() {
  useEffect(() => {
    void recent.show({});
    return () => recent.hide();
  }, []);
  const jobs = recent.jobs.value;
  return (
    <section class="card recent" aria-labelledby="recent-title">
      <header class="row">
        <h2 id="recent-title">History</h2>
        <a class="end" href={address("history")}>Search all</a>
      </header>
      {recent.error.value && <p class="error">{recent.error.value}</p>}
      {jobs?.length === 0 && <p class="hint">Nothing yet. What you generate is kept here until it expires.</p>}
      <ul class="jobs">{jobs?.map((job) => <JobRow key={job.job_id} job={job} />)}</ul>
    </section>
  );
}

export function HistoryView() {
  const { query } = route.value;
  const q = query.get("q") ?? "";
  const state = query.get("status") ?? "";
  const [typed, setTyped] = useState(q);
  /** What was asked for last from here; another q in the address came from elsewhere. */
  const asked = useRef(q);
  const timer = useRef<number>();
  const filter = (q: string, status: string): void => {
    clearTimeout(timer.current);
    asked.current = q;
    setQuery({ q, status });
  };
  useEffect(() => {
    if (q === asked.current) return;
    clearTimeout(timer.current);
    asked.current = q;
    setTyped(q);
  }, [q]);
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    void historyList.show({ q, status: state });
    return () => historyList.hide();
  }, [q, state]);
  const jobs = historyList.jobs.value;
  const bytes = jobs?.reduce((sum, job) => sum + (job.result?.bytes ?? 0), 0) ?? 0;
  return (
    <section class="view" aria-labelledby="history-title">
      <h1 id="history-title">History</h1>
      <div class="filters" role="search">
        <label class="field grow">
          <span>Search in texts and tags</span>
          <input
            type="search"
            value={typed}
            onInput={(event) => {
              const wanted = event.currentTarget.value;
              setTyped(wanted);
              clearTimeout(timer.current);
              timer.current = window.setTimeout(() => filter(wanted, route.value.query.get("status") ?? ""), TYPED_MS);
            }}
          />
        </label>
        <label class="field">
          <span>Status</span>
          <select value={state} onChange={(event) => filter(typed, event.currentTarget.value)}>
            {STATES.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
          </select>
        </label>
      </div>
      <p class="hint" role="status">
        {jobs === null ? "Loading…" : `${count(jobs.length, "job")}${historyList.more.value ? " and more" : ""}, ${size(bytes)} of audio`}
      </p>
      {historyList.error.value && <p class="error" role="alert">{historyList.error.value}</p>}
      {jobs?.length === 0 && (
        <p class="empty">{q || state ? "Nothing matches." : "Nothing yet. What you generate is kept here until it expires."}</p>
      )}
      <ul class="jobs roomy">{jobs?.map((job) => <JobRow key={job.job_id} job={job} full />)}</ul>
      {historyList.more.value && (
        <button type="button" class="more" disabled={historyList.busy.value} onClick={() => void historyList.next()}>Show more</button>
      )}
    </section>
  );
}
