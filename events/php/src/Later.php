<?php

declare(strict_types=1);

namespace Errands;

/** Returned by a handler of Steps: the step goes on, and its end is told by the signal `complete`. */
final class Later
{
}
