/** The first view: write on one side, follow on the other, what was made below. */
import { Compose } from "./Compose";
import { Recent } from "./History";
import { Now } from "./Now";

export function Studio() {
  return (
    <div class="studio">
      <Compose />
      <div class="aside">
        <Now />
        <Recent />
      </div>
    </div>
  );
}
