// The Node.js tool's shape.
'use strict';

module.exports = {
  name: 'recorded-js',
  mongodb: { url: "${MONGODB_URL}" },
  state: { url: '${STATE_URL}', database: `recorded_state` },
  admin: { enabled: false, },
  pipeline: [
    { name: "log", config: { myvar: "myname" } },
    { name: "http", config: { endpoint: "${RECEIVER_URL}" }, on_failure: 'dead_letter' },
    { name: "dummy" },
  ],
  plugins: { /* a function in the past */ dummy: "hooks:dummy" },
  databases: {
    recorded_01: { collections: { test: {}, 'a?': { pipeline: ["dummy"] } } },
    "recorded_02": { collections: {}, changeHook: "hooks:hook" },
  },
};
