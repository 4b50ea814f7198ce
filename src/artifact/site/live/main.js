// Start the page once everything is read: Live.ready is true when it can be used.
"use strict";

Live.tokenizer = new Live.Tokenizer(Live.world.tokenizer);
Live.ask.build();
Live.scope.build();
Live.ready = Live.ask.run().then(() => Live.scope.draw()).then(
  () => (document.documentElement.dataset.ready = "yes"),
  (fault) => {
    Live.at("status").textContent = `The page cannot go on: ${fault.message}`;
    throw fault;
  });
