// A config of the Node.js tool, as it is: data only, so it loads unchanged. Functions move to Python: here the plugin
// `dummy` was one, and is now in my_plugins.py beside this file. nodejs-sample.yml says the same in YAML.
'use strict';

module.exports = {
  // The pipeline for every collection that has none of its own.
  pipeline: [
    { name: "log", config: { myvar: "myname" } },
    { name: "http", config: { endpoint: "${WEBHOOK_URL:-http://localhost:8080/}" } },
    { name: "dummy" },
  ],

  plugins: {
    // dummy: (input, config, context) => input,
    dummy: "my_plugins:dummy",
  },

  databases: {
    test01: {
      collections: {
        test: {},
      },
    },
    test02: {
      collections: {},
      // changeHook: async function (item, context) { console.log(item); },
    },
  },
};
