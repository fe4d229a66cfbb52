"""What a RabbitMQ server may not do, and what it said, in words.

ServerUnavailable    it was not done, or nobody knows whether it was: the same may be asked again
  Unroutable         no queue takes the message
ServerRefused        the server says no: asking again does not help
"""


class ServerUnavailable(Exception):
    """The server did not do it, or nobody knows whether it did: the same may be asked again."""


class Unroutable(ServerUnavailable):
    """No queue takes this message; the server has thrown it away."""


class ServerRefused(Exception):
    """The server says no, to these credentials, this virtual host or this declaration: asking again does not help."""


def words(error: BaseException) -> str:
    """What happened, in words; pika's exceptions hold others, in several ways, and often no text of their own."""
    held = getattr(error, "exception", None) or next(iter(getattr(error, "exceptions", ())[-1:]), None)
    inner = held or next((each for each in error.args[:1] if isinstance(each, BaseException)), None)
    if inner is not None:
        return words(inner)
    return str(getattr(error, "reply_text", "") or str(error) or type(error).__name__)
