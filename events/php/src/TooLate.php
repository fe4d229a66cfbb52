<?php

declare(strict_types=1);

namespace Errands;

/** The job's state leaves no room for it: one that has ended is not cancelled, one that is open not done anew. */
final class TooLate extends Exception
{
}
