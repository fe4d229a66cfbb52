<?php

declare(strict_types=1);

namespace Errands;

/**
 * What every exception of this library is. A wrong setting (a bad sink or secret) is an \InvalidArgumentException.
 *
 *     \RuntimeException
 *     └── Exception
 *         ├── InvalidJob          the job cannot be done as it is: mend the code or the data; `errors` has the fields
 *         ├── Refused             trying again is of no use: the message says why
 *         ├── Unreachable         not accepted in any attempt; it MAY have arrived: emit it again, same id
 *         ├── UnknownJob          there is no such job to ask about
 *         ├── TooLate             the job's state leaves no room for it: its end may have been quicker
 *         ├── InvalidSignature    the callback is not from Errands, or too old: answer 401
 *         ├── InvalidCallback     the signature is right, the body is no callback: answer 400
 *         ├── NotFetched          a file could not be fetched whole: try again, unless its URL has expired
 *         └── StepRefused         thrown by your own handler of a step, which can never be done
 */
abstract class Exception extends \RuntimeException
{
}
