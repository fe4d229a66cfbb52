<?php

declare(strict_types=1);

return ['paths' => [dirname(__DIR__) . '/views'], 'compiled' => dirname(__DIR__) . '/storage'];
