"""A page that shows trained networks at work: questions, phrases and captions about pictures."""
