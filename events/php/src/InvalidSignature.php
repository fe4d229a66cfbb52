<?php

declare(strict_types=1);

namespace Errands;

/** The callback is not from Errands, was changed on its way, or is too old: answer 401. */
final class InvalidSignature extends Exception
{
}
