// A hook in the place of a pipeline. What was `changeHook(item, context) { … }` in the Node.js tool is a Python function:
// change_hook in my_plugins.py beside this file.
module.exports = {
  databases: {
    shop: {
      collections: {
        orders: {
          changeHook: 'my_plugins:change_hook',
        },
      },
    },
  },
};
