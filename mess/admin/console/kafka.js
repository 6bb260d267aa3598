// A member of a Kafka consumer group: its partitions in place of change streams.
import { html } from "./html.js";
import { duration, plain, plural, rate, short, whole } from "./format.js";
import { Fact, Icon } from "./ui.js";

/** The partition that a stream reads. @param {any} group @param {any} stream */
export const partitionOf = (group, stream) => group?.assigned.find((each) => `${each.topic}[${each.partition}]` === stream.name);

/** The source in the picture. */
export const Kafka = ({ group, total }) => html`<div class="card" data-node="source"><${Icon} name="queue" /><strong>Kafka</strong>
  <span>${rate(total)}</span><span class="quiet"><bdi>${plain(group.name)}</bdi></span></div>`;

/** The group in figures. */
export function figures({ assigned, partitions, members, member, state, lag, topics, heartbeat_age_seconds: age }) {
  return [
    ["Lag", short(lag), lag === 1 ? "message left" : "messages left", ""],
    ["Partitions", partitions == null ? whole(assigned.length) : `${whole(assigned.length)} of ${whole(partitions)}`, `of ${topics.join(", ")}`, ""],
    ["Members", whole(members), !member ? `not joined yet: ${state}` : age == null ? "in the group" : `last heartbeat ${duration(age)} ago`, member ? "" : "bad"],
  ];
}

/** What is known of a partition. */
export const PartitionFacts = ({ partition, stream }) => html`
  <${Fact} label="Left" title="Messages that are not delivered yet">${partition.lag == null ? "–" : plural(partition.lag, "message")}<//>
  <${Fact} label="Behind">${duration(stream.lag_seconds)}<//>
  <${Fact} label="Offset" title="The group's offset: the first message that is delivered after a restart">${whole(partition.committed)}<//>`;
