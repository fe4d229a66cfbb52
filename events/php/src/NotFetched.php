<?php

declare(strict_types=1);

namespace Errands;

/** The file could not be fetched whole: its URL has expired, its server is down, or it is not what the job made. */
final class NotFetched extends Exception
{
}
