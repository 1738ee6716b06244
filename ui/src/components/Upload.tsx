/** Send files to the library. */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { api } from "../services/api";
import { attempt, toast } from "../state/messages";
import { loadVoices } from "../state/server";
import { Icon } from "./Icon";

interface Props {
  kind: "reference" | "predefined_voice";
  onTaken?: (names: string[]) => void;
  children: ComponentChildren;
}

export function UploadButton({ kind, onTaken, children }: Props) {
  const input = useRef<HTMLInputElement>(null);
  const [busy, setBusy] = useState(false);
  const [consent, setConsent] = useState(false);
  const send = async (files: File[]): Promise<void> => {
    if (!files.length) return;
    setBusy(true);
    const answer = await attempt(() => api.upload(kind, files, consent));
    if (answer) {
      for (const one of answer.errors) toast(`${one.filename}: ${one.error}`, "error");
      if (answer.uploaded_files.length) {
        toast(`Taken: ${answer.uploaded_files.join(", ")}`);
        await attempt(loadVoices);
        onTaken?.(answer.uploaded_files);
        setConsent(false);
      }
    }
    setBusy(false);
  };
  return (
    <>
      {kind === "reference" && (
        <label class="check">
          <input type="checkbox" checked={consent} onChange={(event) => setConsent(event.currentTarget.checked)} />
          <span>The speaker agreed to being cloned</span>
        </label>
      )}
      <input
        ref={input}
        type="file"
        hidden
        multiple
        data-kind={kind}
        accept={kind === "reference" ? ".wav,.mp3,audio/wav,audio/mpeg" : ".onnx,.json,.wav,.mp3"}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          void send(files);
        }}
      />
      <button type="button" class="quiet" disabled={busy} onClick={() => input.current?.click()}>
        <Icon name="plus" /> {busy ? "Sending…" : children}
      </button>
    </>
  );
}
