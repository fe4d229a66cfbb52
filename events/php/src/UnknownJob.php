<?php

declare(strict_types=1);

namespace Errands;

/** There is no such job: it was never accepted, is older than jobs are kept, or is not yours to see. */
final class UnknownJob extends Exception
{
}
